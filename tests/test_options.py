"""Options that several commands have: what stands for one in the environment does so everywhere."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from hddnn.cli import main

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


def test_what_a_machine_is_set_up_for_does_not_hinder_a_run_without_processes() -> None:
    words = ("run", "--engine", "closed", "--topology", "laptop")
    assert hddnn(*words, tls="nowhere").exit_code == 0
    asked = hddnn(*words, "--tls", "nowhere")
    assert asked.exit_code == 2
    assert "engine closed runs no process, so TLS means nothing" in asked.stderr
