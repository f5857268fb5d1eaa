FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/cdp \
 && /opt/cdp/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
COPY registry_schemas registry_schemas
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/cdp/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --create-home --uid 10001 cdp
COPY --from=build /opt/cdp /opt/cdp
ENV PATH=/opt/cdp/bin:$PATH CDP_HOST=0.0.0.0 CDP_DATA_DIR=/home/cdp/data
USER cdp
RUN mkdir /home/cdp/data
EXPOSE 8000
VOLUME /home/cdp/data
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["cdp", "serve"]
