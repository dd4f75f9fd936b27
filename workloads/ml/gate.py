"""How a gate's decision is told."""

from __future__ import annotations


def compared(accuracy: float, baseline: float) -> str:
    """`accuracy 0.967 > baseline 0.7`: as many digits as it takes to see which is larger."""
    for digits in (3, 6, 17):
        left, right = f"{accuracy:.{digits}g}", f"{baseline:.{digits}g}"
        if (left == right) == (accuracy == baseline):
            break
    sign = ">" if accuracy > baseline else "<" if accuracy < baseline else "="
    return f"accuracy {left} {sign} baseline {right}"
