import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_notice_names_every_package_that_the_service_needs() -> None:
    pins = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    needed = {re.split(r"[=\[]", pin)[0] for pin in pins if pin and not pin.startswith("#")}
    table = (ROOT / "NOTICE").read_text("utf-8").partition("(requirements.txt)")[2]
    assert needed <= {line.split()[0] for line in table.splitlines() if line}


def test_setup_claims_no_licence() -> None:
    assert "licen" not in (ROOT / "setup.py").read_text("utf-8").lower()
