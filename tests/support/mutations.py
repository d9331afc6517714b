"""Bytes changed by chance, the same for the same seed."""

from random import Random

__all__ = ["mutated", "mutated_once"]


def mutated(content: bytes, draw: Random) -> bytes:
    """One to four changes, each of a kind drawn anew."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = mutated_once(content, draw)
    return content


def mutated_once(content: bytes, draw: Random) -> bytes:
    """A byte flipped or replaced; a part cut out, doubled, zeroed or moved; or the end cut off."""
    start = draw.randrange(len(content) + 1)
    end = min(len(content), start + draw.choice((1, 1, 2, 8, 64, 1000)))
    part = content[start:end]
    match draw.randrange(7):
        case 0:
            return content[:start] + bytes(byte ^ 1 << draw.randrange(8) for byte in part[:1]) + content[start + 1 :]
        case 1:
            return content[:start] + draw.randbytes(len(part)) + content[end:]
        case 2:
            return content[:start] + content[end:]
        case 3:
            return content[:end] + part + content[end:]
        case 4:
            return content[:start] + bytes(len(part)) + content[end:]
        case 5:
            return content[:start]
        case _:
            rest = content[:start] + content[end:]
            at = draw.randrange(len(rest) + 1)
            return rest[:at] + part + rest[at:]
