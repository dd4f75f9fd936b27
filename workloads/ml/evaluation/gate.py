"""The text of a gate's decision."""

from __future__ import annotations


def format_gate(accuracy: float, baseline: float) -> str:
    """Return a comparison such as `accuracy 0.967 > baseline 0.7`, with enough digits to show the larger number."""
    for digits in (3, 6, 17):
        left, right = f"{accuracy:.{digits}g}", f"{baseline:.{digits}g}"
        if (left == right) == (accuracy == baseline):
            break
    sign = ">" if accuracy > baseline else "<" if accuracy < baseline else "="
    return f"accuracy {left} {sign} baseline {right}"
