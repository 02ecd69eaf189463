"""Answers of tests to the questions of a command."""

import pytest


def yes(*_: object) -> bool:
    return True


def no(*_: object) -> bool:
    return False


def never(question: str, *_: object) -> bool:
    pytest.fail(f"unexpected question: {question}")
