"""The rule about missing servers, tried on small test files of its own."""

from pathlib import Path

import pytest

SKIPS_IN_BODY = 'import pytest\ndef test_it():\n    pytest.skip("{reason}")\n'
SKIPS_BY_MARK = (
    'import pytest\n@pytest.mark.skipif(True, reason="{reason}")\ndef test_it():\n    pass\n'
)
SKIPS_WHOLE_FILE = (
    'import pytest\npytest.skip("{reason}", allow_module_level=True)\ndef test_it():\n    pass\n'
)


def run(pytester: pytest.Pytester, test_file: str) -> pytest.RunResult:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(test_file)
    return pytester.runpytest_inprocess()


@pytest.mark.parametrize("test_file", [SKIPS_IN_BODY, SKIPS_BY_MARK, SKIPS_WHOLE_FILE])
def test_a_missing_server_fails_a_ci_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, test_file: str
) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(pytester, test_file.format(reason="needs server: MongoDB"))
    assert result.ret != pytest.ExitCode.OK
    assert result.parseoutcomes().get("skipped", 0) == 0
    result.stdout.fnmatch_lines(["*needs server: MongoDB - CI must have every server*"])


def test_a_missing_server_is_a_plain_skip_at_home(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = run(pytester, SKIPS_IN_BODY.format(reason="needs server: MongoDB"))
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.OK


def test_another_reason_to_skip_stays_a_skip_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(pytester, SKIPS_IN_BODY.format(reason="only where pandas 3 is installed"))
    result.assert_outcomes(skipped=1)
