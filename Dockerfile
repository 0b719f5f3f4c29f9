# hbac on the CPU, or on a GPU with --gpus all: docker build -t hbac . && docker run --rm -v "$PWD/outputs:/data/outputs" hbac
FROM python:3.12-slim
WORKDIR /hbac
COPY . .
# TORCH_INDEX: the address of PyTorch's index of builds without CUDA, from its page "Get Started"; the whole image is then
# less than half as large. Empty: PyPI's build.
ARG TORCH_INDEX=
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --no-compile 'torch>=2.9,<2.15' torchvision torchaudio --index-url "$TORCH_INDEX"; fi \
    && pip install --no-cache-dir --no-compile .
WORKDIR /data
ENTRYPOINT ["python", "-m"]
CMD ["hbac"]
