"""edge-broker check: it passes on the rules that init writes, and each check fails where the rule it proves is gone."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from broker import check, cli, fleet, rules


def failing() -> set[str]:
    with check.target(None, None) as target:
        return {one.name for one in check.run(target) if not one.ok}


def test_the_rules_that_init_writes_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-broker", "check", "--json"])
    assert cli.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"]
    assert [one["name"] for one in result["checks"]] == list(check.CHECKS)
    assert all(one["ok"] and one["found"] for one in result["checks"])


WITHOUT = {
    "acl_file": {
        "a device cannot speak as another",
        "a device cannot speak to another fleet",
        "a device cannot forge another's status",
        "a device cannot send kinds that nobody knows",
        "a device cannot send to who is not enrolled",
        "a device cannot ask as the operator does",
        "a device cannot leave what nobody looks for",
        "the monitor cannot publish",
        "a device cannot read another's inbox",
        "a device cannot read all by wildcards",
        "a device cannot read by a shared subscription",
    },
    "crlfile": {"a revoked certificate is refused"},
    "use_username_as_clientid": {"a device cannot take over another's session"},
    "max_packet_size": {"a packet that is too large is refused", "what the broker holds is bounded"},
    "ciphers": {"a cipher without authentication is refused"},
}
BOUNDED = [setting for setting in check.BOUNDS if setting != "max_packet_size"]


@pytest.mark.parametrize("setting", WITHOUT)
def test_without_a_setting_its_checks_fail(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rules.configuration

    def without(at: Path, port: int, address: str = "", **more: rules.Limits) -> str:
        lines = whole(at, port, address, **more).splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(setting))

    monkeypatch.setattr(rules, "configuration", without)
    assert failing() == WITHOUT[setting]


@pytest.mark.parametrize("setting", BOUNDED)
def test_without_a_bound_its_check_fails(setting: str) -> None:
    with check.target(None, None) as target:
        lines = target.settings.splitlines(keepends=True)
        without = replace(target, settings="".join(line for line in lines if not line.startswith(setting)))
        assert check.CHECKS["what the broker holds is bounded"](target)[0]
        assert check.CHECKS["what the broker holds is bounded"](without) == (False, f"without a bound: {setting}")


RULES = {
    "topic deny fleet": "the monitor cannot publish",
    "soft-labels\n": "a device cannot send kinds that nobody knows",
    "/to/check-b/": "a device cannot send to who is not enrolled",
    "/round/config": "a device cannot leave what nobody looks for",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_wider_rule_makes_its_check_fail(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was before: a `+` where there are names now."""
    whole = rules.access_rules
    wider = {
        "topic deny fleet": "# ",
        "soft-labels\n": "+\n",
        "/to/check-b/": "/to/+/",
        "/round/config": "/+/config",
    }
    monkeypatch.setattr(rules, "access_rules", lambda *words, **more: whole(*words, **more).replace(rule, wider[rule]))
    with check.target(None, None) as target:
        ok, answer = check.CHECKS[RULES[rule]](target)
    assert not ok, answer


def test_without_certificates_anybody_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rules.configuration
    monkeypatch.setattr(
        rules,
        "configuration",
        lambda *words, **more: (
            whole(*words, **more)
            .replace("require_certificate true", "require_certificate false")
            .replace("use_identity_as_username true", "use_identity_as_username false")
            .replace("allow_anonymous false", "allow_anonymous true")
        ),
    )
    with check.target(None, None) as target:
        ok, answer = check.CHECKS["without a certificate nobody is let in"](target)
    assert not ok, answer


def test_an_authority_of_another_fleet_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If foreign credentials were let in the check would fail: here they are the fleet's own."""
    whole = check.Target.issue
    monkeypatch.setattr(check.Target, "issue", lambda self, name, **flags: whole(self, name))
    assert failing() == {"a foreign certificate is refused", "an expired certificate is refused"}


def test_an_open_key_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with check.target(None, None) as target:
        (target.fleet.folder / "authority.key").chmod(0o644)
        outcome = {one.name: one for one in check.run(target)}["private keys are their owner's alone"]
        (target.fleet.folder / "authority.key").chmod(0o600)
        target.fleet.folder.chmod(0o755)
        folder = check.CHECKS["private keys are their owner's alone"](target)
    assert not outcome.ok
    assert "authority.key" in outcome.answer
    assert folder == (False, "4 keys, the folder fleet: chmod 700")


def test_a_fleets_own_rules_and_a_broker_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    orchard = fleet.init(tmp_path / "orchard", "orchard", ["127.0.0.1"], 8883)
    monkeypatch.setattr(sys, "argv", ["edge-broker", "check", "--fleet", str(orchard.folder)])
    assert cli.main() == 0
    assert f"{len(check.CHECKS)} of {len(check.CHECKS)} checks passed" in capsys.readouterr().out
    with check.target(orchard.folder, None) as target:
        words = ["check", "--fleet", str(orchard.folder), "--broker", f"127.0.0.1:{target.port}"]
        monkeypatch.setattr(sys, "argv", ["edge-broker", *words])
        assert cli.main() == 0
    assert cli.main() == 1  # it is gone
    assert "FAIL  neighbours hear one another" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--broker", "host"], "--broker: name the fleet"),
        (["--fleet", "nowhere"], "is no fleet's folder"),
        (["--fleet", "nowhere", "--broker", "host:port"], "--broker host:port: expected HOST or HOST:PORT"),
    ],
)
def test_bad_input(
    words: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-broker", "check", *words])
    assert cli.main() == 2
    assert complaint in capsys.readouterr().err
