"""Answers that a reader might give: each check must pass the right ones and refuse the wrong ones."""

from collections.abc import Callable
from types import ModuleType

import pytest


class Answers:
    """Right and wrong answers to the checks of one chapter, collected by decorators; their names say what they do."""

    def __init__(self, checks: ModuleType):
        self.checks = checks
        self.given: list[tuple[int, bool, Callable]] = []

    def right(self, number: int):
        """Collect an answer in another style that exercise `number` must accept."""
        return self.collect(number, True)

    def wrong(self, number: int):
        """Collect an answer that exercise `number` must refuse."""
        return self.collect(number, False)

    def collect(self, number: int, is_right: bool):
        def keep(answer: Callable) -> Callable:
            self.given.append((number, is_right, answer))
            return answer

        return keep

    def count(self, number: int, is_right: bool) -> int:
        return sum((given, right) == (number, is_right) for given, right, _ in self.given)

    def test(self):
        """The test of all of these answers."""
        names = [
            f"{number}-{'right' if right else 'wrong'}-{answer.__name__}"
            for number, right, answer in self.given
        ]

        @pytest.mark.parametrize(("number", "is_right", "answer"), self.given, ids=names)
        def test_answer(number, is_right, answer, capsys):
            getattr(self.checks, f"check_{number}")(answer)
            said = capsys.readouterr().out
            assert (": passed on" if is_right else ": not yet.") in said, said

        return test_answer
