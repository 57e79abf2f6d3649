"""HTTPS with a certificate of one's own."""

import ssl
import subprocess
from pathlib import Path

import httpx

from tests.support.service import FAKE, started


def test_the_service_speaks_https_where_it_has_a_certificate(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*made, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    with started(FAKE | {"SECURITY__TLS_CERT": str(cert), "SECURITY__TLS_KEY": str(key)}) as running:
        running.wait_until_ready()
        url = running.url.replace("http:", "https:")
        assert url in running.output
        assert httpx.get(f"{url}/health", verify=ssl.create_default_context(cafile=cert)).status_code == 200


def test_a_certificate_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    with started(FAKE | {"SECURITY__TLS_CERT": missing, "SECURITY__TLS_KEY": missing}) as running:
        assert running.wait() == 2
    assert f"cannot read {missing}" in running.output
