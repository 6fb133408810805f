# syntax=docker/dockerfile:1
# Three images from one file:
#   client  faceblur and its cameras; small, no server in it
#   export  makes models of official weights; runs once, with the network
#   server  NVIDIA's Triton with the client beside it, for the canary and for building plans
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.10-py3

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE} AS packages
# heic,cloud where files are in object stores; heic,cloud,local,ray for docs/scale.md.
ARG EXTRAS=heic
ENV PATH=/opt/faceblur/bin:$PATH
COPY --from=wheel /wheels /wheels
COPY deploy/docker/constraints.txt /wheels/
COPY deploy/docker/install /usr/local/bin/install-faceblur
RUN python -m venv /opt/faceblur && install-faceblur "$EXTRAS"

# The packages that build a repository; TensorRT itself is NVIDIA's, in the server's image.
FROM packages AS server-packages
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt "onnx>=1.16,<2" \
    && mv /opt/faceblur/lib/python3.12/site-packages /opt/site-packages

# PyTorch reads checkpoints. Its own index has it without CUDA, at a fraction of the size.
FROM packages AS export
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt "onnx>=1.16,<2" \
    && pip install --no-cache-dir --constraint /wheels/constraints.txt \
        --index-url https://download.pytorch.org/whl/cpu "torch>=2.3,<3" \
    && install -d -o 1000 -g 1000 /weights
USER 1000:1000
ENV PYTHONDONTWRITEBYTECODE=1
CMD ["faceblur-export", "weights", "list"]

FROM ${TRITON_IMAGE} AS server
COPY --from=server-packages /opt/site-packages /opt/faceblur
COPY --chmod=755 deploy/docker/faceblur deploy/docker/canary deploy/docker/fill-repository \
    /usr/local/bin/
# OpenCV alone is on the path of Triton's own Python too, where NumPy is NVIDIA's: it decodes JPEG.
RUN ln -s faceblur /usr/local/bin/faceblur-export \
    && install -d /usr/local/lib/python3.12/dist-packages \
    && ln -s /opt/faceblur/cv2 /opt/faceblur/opencv_python_headless.libs \
        /usr/local/lib/python3.12/dist-packages/ \
    && install -d -o 1000 -g 1000 /models
# NVIDIA's own unprivileged user, triton-server.
USER 1000:1000
ENV PYTHONDONTWRITEBYTECODE=1
HEALTHCHECK --interval=15s --timeout=20s --start-period=180s --retries=3 CMD ["canary"]

FROM ${PYTHON_IMAGE} AS client
COPY --from=packages /opt/faceblur /opt/faceblur
RUN install -d -o 10001 -g 10001 /var/lib/faceblur
ENV PATH=/opt/faceblur/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/faceblur
EXPOSE 9180
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9180/healthz', timeout=4)"]
ENTRYPOINT ["faceblur"]
CMD ["run", "/etc/faceblur/cameras.yaml"]
