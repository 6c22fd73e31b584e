"""Options that several commands have: what stands for one in the environment does so everywhere."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from doors import ipv6
from PIL import Image

from hddnn.cli.main import main
from hddnn.cli.options import own_host, own_hosts
from hddnn.errors import InputError

#: Of each command with --tls, what takes it as far as looking for certificates.
COMMANDS = {
    "run": ("--topology", "laptop", "--schemes", "end"),
    "classify": ("image.png",),
    "serve": ("--port", "0"),
    "profile": ("--topology", "laptop", "--out", "new.yaml"),
    "worker": ("end-1", "tls://127.0.0.1:9"),
    "scheduler": (),
    "status": ("--address", "tls://127.0.0.1:9"),
    "up": ("--topology", "laptop", "--port", "0"),
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 32)).save("image.png")


def hddnn(*words: str, tls: str | None = None) -> Result:
    return CliRunner().invoke(main, words, env={"HDDNN_TLS": tls})


def test_every_command_with_certificates_is_looked_at() -> None:
    with_tls = {
        name
        for name, command in main.commands.items()
        if any("--tls" in option.opts for option in command.params if isinstance(option, click.Option))
    }
    assert with_tls == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_folder_of_certificates_may_be_given_by_a_variable(command: str) -> None:
    result = hddnn(command, *COMMANDS[command], tls="nowhere")
    assert result.exit_code == 2
    assert "nowhere has no authority.crt" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_option_is_above_the_variable(command: str) -> None:
    result = hddnn(command, *COMMANDS[command], "--tls", "elsewhere", tls="nowhere")
    assert "elsewhere has no authority.crt" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--out", ""), "--out is empty; give it a name, or leave it out"),
        (("run", "--data", ""), "--data is empty"),
        (("run", "--topology", ""), "--topology is empty"),
        (("run", "--journal", ""), "--journal is empty"),
        (("classify", "image.png", "--out", ""), "--out is empty"),
        (("classify", ""), "an argument is empty; give the name of a file or folder"),
        (("report", ""), "an argument is empty"),
        (("report", ".", "--out", ""), "--out is empty"),
        (("profile", "--topology", "laptop", "--out", ""), "--out is empty"),
        (("train", "mobilenet", "--out", ""), "--out is empty"),
        (("audit", "mobilenet", "--out", ""), "--out is empty"),
        (("certs", ""), "an argument is empty"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(words: tuple[str, ...], says: str) -> None:
    before = sorted(Path().rglob("*"))
    result = hddnn(*words)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"hddnn: {says}")
    assert sorted(Path().rglob("*")) == before


def test_an_option_that_this_machine_is_set_up_with_is_not_given_twice() -> None:
    result = hddnn("run", "--topology", "laptop", "--engine", "dask:tls=elsewhere", tls="nowhere")
    assert "elsewhere has no authority.crt" in result.stderr


def test_what_a_machine_is_set_up_for_does_not_hinder_a_run_without_processes() -> None:
    words = ("run", "--engine", "closed", "--topology", "laptop")
    assert hddnn(*words, tls="nowhere").exit_code == 0
    asked = hddnn(*words, "--tls", "nowhere")
    assert asked.exit_code == 2
    assert "engine closed has no option tls" in asked.stderr


@pytest.mark.parametrize(
    ("host", "dasks"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("localhost", "localhost"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[0:0:0:0:0:0:0:1]"),
        ("::", "[::]"),
    ],
)
def test_a_host_is_taken_in_every_form(host: str, dasks: str) -> None:
    assert own_host(ipv6(host) if ":" in host else host) == dasks


@pytest.mark.parametrize(
    "host", ["", "[]", "nowhere.invalid", "192.0.2.1", "2001:db8::1", "[::1", "a..b", "256.0.0.1", "a\0b"]
)
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="--host"):
        own_host(host)


@pytest.mark.parametrize(
    ("words", "dasks"),
    [
        (("--host", "127.0.0.1", "--port", "0"), ("--host", "127.0.0.1", "--port", "0")),
        (("--host", "::1", "tcp://[::1]:8786"), ("--host", "[::1]", "tcp://[::1]:8786")),
        (("--host=::1",), ("--host=[::1]",)),
        (("--host=[::1]", "--port", "0"), ("--host=[::1]", "--port", "0")),
        (("--host", "tcp://[::1]:0"), ("--host", "tcp://[::1]:0")),
        (("--interface", "lo"), ("--interface", "lo")),
        (("--host",), ("--host",)),
    ],
)
def test_hosts_among_the_options_of_dask(words: tuple[str, ...], dasks: tuple[str, ...]) -> None:
    if "::1" in " ".join(words):
        ipv6("::1")
    assert tuple(own_hosts(words)) == dasks


@pytest.mark.parametrize("command", ["up", "scheduler", "serve"])
def test_a_host_that_is_not_here_is_told_in_one_line(command: str) -> None:
    result = hddnn(command, *(() if command == "scheduler" else COMMANDS[command]), "--host", "192.0.2.1")
    assert result.exit_code == 2
    assert result.stderr.startswith("hddnn: cannot listen at 192.0.2.1")
    assert len(result.stderr.splitlines()) == 1
