"""The linters of `make lint`: the prose linter's rules, and the contract between layers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness import CHECKOUT, copy_of_checkout
from tools.ci.prose_lint import LONGEST_SENTENCE, faults, main


def messages(path: str, text: str) -> list[str]:
    return [fault.message for fault in faults(path, text)]


class TestOpeners:
    @pytest.mark.parametrize("opener", ["What", "Whether", "Who", "One", "Those", "It", "Of", "That"])
    def test_docstring_that_begins_with_a_forbidden_word_is_a_fault(self, opener: str) -> None:
        for definition in ("def f():", "async def f():", "class f:"):
            (message,) = messages("a.py", f'{definition}\n    """{opener} is returned."""\n')
            assert message == f'docstring of f begins with "{opener}"; begin with a verb or a noun'

    @pytest.mark.parametrize("docstring", ["Return the result.", "Oneness of the result.", "The result."])
    def test_docstring_that_begins_with_another_word_is_allowed(self, docstring: str) -> None:
        assert messages("a.py", f'def f():\n    """{docstring}"""\n') == []

    def test_module_docstring_that_begins_with_a_forbidden_word_is_a_fault(self) -> None:
        (message,) = messages("a.py", '"""What the module does."""\n')
        assert message == 'docstring of the module begins with "What"; begin with a verb or a noun'

    @pytest.mark.parametrize("assignment", ["x = 1", "x: int = 1", "class f:\n    x: int"])
    def test_docstring_of_an_assignment_that_begins_with_a_pronoun_is_a_fault(self, assignment: str) -> None:
        indent = "    " * assignment.count("\n")
        (message,) = messages("a.py", f'{assignment}\n{indent}"""What is counted."""\n')
        assert message == 'docstring of x begins with "What"; begin with a verb or a noun'
        assert messages("a.py", f'{assignment}\n{indent}"""In a cluster: the number."""\n') == []

    def test_main_with_a_faulty_docstring_prints_the_line_and_returns_1(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.py").write_text('def f():\n    """Return 1."""\n')
        assert main([]) == 0
        (tmp_path / "a.py").write_text('def f():\n    """What is returned."""\n')
        assert main([]) == 1
        assert capsys.readouterr().out.startswith("a.py:1: docstring of f begins with")


class TestWords:
    @pytest.mark.parametrize(
        ("path", "text", "line"),
        [
            ("a.py", '"""Module.\n\nThe server is told of it.\n"""\n', 3),
            ("a.py", "x = 1\n# Nobody reads\n# this value.\n", 2),
            ("a.py", 'def f():\n    raise ValueError(f"the {1} file was written anew")\n', 2),
            ("a.sh", "#!/bin/sh\n# Somebody else holds the lock.\n", 2),
            ("Makefile", "up: ## read the settings anew\n", 1),
            ("a.md", "# Title\n\nThe server hears nothing.\n", 3),
            ("a.md", "| a | b |\n|---|---|\n| c | it tells |\n", 3),
        ],
    )
    def test_expression_of_the_list_is_a_fault_at_its_line(self, path: str, text: str, line: int) -> None:
        assert [fault.line for fault in faults(path, text)] == [line]

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("a.py", '"""The value `told` of ``nobody here``."""\n'),
            ("a.py", "told = nobody = 1\n"),
            ("a.py", 'x = "told"\n'),
            ("a.md", "See `told` and <https://example.com/told>.\n\n```sh\necho told\n```\n"),
            ("a.sh", "echo told\n"),
        ],
    )
    def test_code_is_ignored(self, path: str, text: str) -> None:
        assert faults(path, text) == []


class TestSentences:
    def test_sentence_of_too_many_words_is_a_fault(self) -> None:
        words = " ".join(["word"] * (LONGEST_SENTENCE + 1))
        (message,) = messages("a.md", f"Short.\n\n{words}.\n")
        assert message.startswith(f"a sentence of {LONGEST_SENTENCE + 1} words, at most {LONGEST_SENTENCE}: 'word word")

    @pytest.mark.parametrize("end", [". ", ": ", "; ", "\n\n", "\n- "])
    def test_punctuation_and_list_items_end_a_sentence(self, end: str) -> None:
        half = " ".join(["word"] * (LONGEST_SENTENCE - 5))
        assert faults("a.md", f"{half}{end}{half}\n") == []

    def test_code_span_counts_as_one_word(self) -> None:
        words = " ".join(["word"] * (LONGEST_SENTENCE - 1))
        assert faults("a.md", f"{words} `a b c d e`\n") == []

    def test_lines_of_one_comment_are_one_sentence(self) -> None:
        half = " ".join(["word"] * (LONGEST_SENTENCE - 5))
        assert len(faults("a.py", f"# {half}\n# {half}\n")) == 1
        assert faults("a.py", f"x = 1  # {half}\ny = 2  # {half}\n") == []


def test_import_of_a_higher_layer_fails_the_contract(tmp_path: Path) -> None:
    checkout = copy_of_checkout(tmp_path)
    (checkout / ".mypy_cache/bases").mkdir(parents=True)
    (checkout / ".mypy_cache/bases/mlplatform").symlink_to("../../platform")
    with (checkout / "infra/machine.py").open("a") as module:
        module.write("\nfrom workloads import deploy  # noqa\n")
    finished = subprocess.run(
        [CHECKOUT / ".venv/bin/lint-imports"],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": ".mypy_cache/bases:.", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 1
    assert "infra is not allowed to import workloads" in finished.stdout
    assert "infra.machine -> workloads.deploy" in finished.stdout
