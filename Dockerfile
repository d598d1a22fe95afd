# The operator's image: two stages, no root, nothing but Python, the locked packages and our own code.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/switchyard
COPY requirements/operator.txt requirements/
RUN /opt/switchyard/bin/pip install --no-cache-dir --require-hashes -r requirements/operator.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/switchyard/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
COPY --from=build /opt/switchyard /opt/switchyard
USER 65532:65532
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/opt/switchyard/bin/switchyard"]
CMD ["run"]
