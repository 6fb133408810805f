"""The test rig of live cameras: a camera with a face, servers that fail, and a viewer who judges.

clips.py        frames with a face at known places, as streams that are already encoded
rtsp.py         a real RTSP server (GStreamer's), as the camera and as the place to publish to
viewer.py       receives what a camera publishes, in a process of its own
judge.py        says for each frame that a viewer received whether a face shows
faults.py       ways in which a server or a network can fail, each with how it is undone
blindfold.py    makes a detector blind: what the judge has to notice
ports.py        ports that nobody else takes, and whether somebody listens there
trial.py        one camera, one viewer, one fault at a time
"""
