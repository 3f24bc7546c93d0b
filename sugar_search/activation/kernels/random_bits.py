"""The random numbers of codes: a hash of seed and index, the same in every kernel."""

from torch import Tensor

__all__ = ["random_bits"]

_LOW_32 = 0xFFFFFFFF


def random_bits(index: Tensor, seed: Tensor) -> Tensor:
    """24 random bits for each element: half of a hash of the seed and of the place it shares with another element.

    Elements i and i + 16 of each 32 share a place, p = (i >> 5 << 4) + (i & 15): the second takes the upper 24 bits of
    the hash, the first the lower 16 bits, followed by 0x80, the middle of what they leave open.

    With the two halves of the hash `lowbias32`, in unsigned 32 bits, m(h) = (h ^ h >> 16) * 0x7FEB352D, then
    h ^ h >> 15, and f(h) = h * 0x846CA68B, then h ^ h >> 16, and with the halves of p and seed:

        key1 = f(m(seed_low)) ^ seed_high,  key2 = f(m(key1 + 0x9E3779B9))
        high = f(m(p_high))                                       (0 for the first 2**33 elements)
        hash = f(m(p_low ^ key1 ^ high) + key2)

    Source of the constants: C. Wellons, "Prospecting for hash functions", 2018, public domain.

    Args:
        index: int64, 0 or more.
        seed: int64, one element.

    Returns:
        int64 in [0, 2**24), shape of `index`.
    """
    key1, key2 = _keys(seed)
    place = (index >> 5 << 4) + (index & 15)
    h = _f(_m(place & _LOW_32 ^ key1 ^ _f(_m(place >> 32))) + key2 & _LOW_32)
    return (h >> 8).where(index & 16 > 0, (h & 0xFFFF) << 8 | 0x80)


def _m(h: Tensor) -> Tensor:
    h = (h ^ h >> 16) * 0x7FEB352D & _LOW_32
    return h ^ h >> 15


def _f(h: Tensor) -> Tensor:
    h = h * 0x846CA68B & _LOW_32
    return h ^ h >> 16


def _keys(seed: Tensor) -> tuple[Tensor, Tensor]:
    seed = seed.reshape(())
    key1 = _f(_m(seed & _LOW_32)) ^ (seed >> 32 & _LOW_32)
    return key1, _f(_m(key1 + 0x9E3779B9 & _LOW_32))
