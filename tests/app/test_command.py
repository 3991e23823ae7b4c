import signal
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_ended_and_leaves_nothing(tmp_path, monkeypatch, ended_by):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "tem_data.cli", "app"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    address = server.stdout.readline()
    assert address.startswith("http://127.0.0.1:") and list(tmp_path.glob("tem_data_app_*"))
    server.send_signal(ended_by)
    assert server.communicate(timeout=20)[0] == "ended\n" and server.returncode == 0
    assert not list(tmp_path.glob("tem_data_app_*"))
