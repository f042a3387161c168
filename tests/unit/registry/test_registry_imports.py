"""What a verb pays for."""

from __future__ import annotations

import subprocess
import sys


def test_naming_options_and_credentials_does_not_load_the_network() -> None:
    program = (
        "import sys, kitops.registry\n"
        "from kitops.registry import Credential, CredentialStore, Network, default_config_paths\n"
        "import kitops.testing\n"
        "sys.exit('urllib3' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
