# The command line in an image: docs/commands.md says how it is built and run.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# An index that has PyTorch's CPU builds. If it is empty, PyTorch comes from the package index: on Linux with CUDA, for GPUs.
ARG TORCH_INDEX=""
# Extras of the package, such as web,science.
ARG EXTRAS=""

RUN useradd --create-home user && mkdir /work && chown user /work
RUN pip install --no-cache-dir "torch>=2.10" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN pip install --no-cache-dir "/source${EXTRAS:+[$EXTRAS]}"

USER user
WORKDIR /work
ENV HOME=/work
ENTRYPOINT ["lowerbound"]
CMD ["--help"]
