"""Files and folders: source, detection, tracking, masks, result, one file a job."""
