# A version after this one: the same, and a migration more. For `make compose-test-upgrade`.
ARG OF
FROM ${OF}
COPY next_version.py /opt/bondhu/venv/lib/python3.11/site-packages/storage/migrations/versions/
