"""What the environment may say, and what is said back when it says something else."""

import traceback
from pathlib import Path

import pytest

from firstread.errors import ConfigurationError
from serving.settings import OTHERS, Settings, read_settings, refuse_unknown


def test_defaults_need_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings()
    assert settings.engine == "inline"
    assert settings.database_url == f"sqlite:///{tmp_path / 'var/firstread.sqlite'}"


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTREAD_PORT", "1")
    assert read_settings().port == 1
    assert read_settings(port=2).port == 2
    assert read_settings(port=None).port == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("ENGINE", "cluster"),
        ("SETTLE_S", "0"),
        ("PAUSE_S", "0"),
        ("WORKERS", "none"),
        ("DATABASE", "mysql://reader@db/firstread"),
        ("DATABASE", "firstread.sqlite"),
    ],
)
def test_what_a_setting_cannot_be_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"FIRSTREAD_{name}", value)
    with pytest.raises(ConfigurationError, match=f"FIRSTREAD_{name}"):
        read_settings()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://reader:s3cret@db:port/firstread",
        "postgresql+asyncpg://reader:s3cret@db/firstread",
        "postgres://reader:s3cret@db/firstread",
        "reader:s3cret@db",
    ],
)
def test_no_error_quotes_the_password_of_a_database(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("FIRSTREAD_DATABASE", url)
    with pytest.raises(ConfigurationError, match="FIRSTREAD_DATABASE") as told:
        read_settings()
    # As a traceback shows it, with what came before it.
    assert "s3cret" not in "".join(traceback.format_exception(told.value))


def test_a_database_s_url_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTREAD_DATABASE", "postgresql+psycopg://reader:s3cret@db/firstread")
    settings = read_settings()
    assert settings.database_url.endswith("@db/firstread")
    assert "s3cret" not in repr(settings) + str(settings)


def test_a_lease_outlasts_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (read_settings().lease_s, read_settings().heartbeat_s) == (60, 10)
    monkeypatch.setenv("FIRSTREAD_LEASE_S", "3")
    assert read_settings().heartbeat_s == 0.5
    monkeypatch.setenv("FIRSTREAD_HEARTBEAT_S", "3")
    with pytest.raises(ConfigurationError, match=r"^a lease .*LEASE_S, 3 s.* must outlast"):
        read_settings()


def test_a_misspelt_setting_is_told_with_what_it_resembles() -> None:
    with pytest.raises(ConfigurationError, match="FIRSTREAD_SETTLE is no setting") as told:
        refuse_unknown(["PATH", "FIRSTREAD_SETTLE"])
    assert "FIRSTREAD_SETTLE_S" in told.value.advice


def test_every_setting_and_what_others_read_is_known() -> None:
    refuse_unknown(["HOME", *OTHERS, *(f"FIRSTREAD_{n.upper()}" for n in Settings.model_fields)])
