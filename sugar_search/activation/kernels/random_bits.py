"""The random numbers of codes: a hash of seed and index, the same in every kernel."""

from torch import Tensor

__all__ = ["random_bits"]

_LOW_32 = 0xFFFFFFFF


def random_bits(index: Tensor, seed: Tensor) -> Tensor:
    """24 random bits for each element: a hash of its index and the seed.

    With the two halves of the hash `lowbias32`, in unsigned 32 bits, m(h) = (h ^ h >> 16) * 0x7FEB352D, then
    h ^ h >> 15, and f(h) = h * 0x846CA68B, then h ^ h >> 16, and with the halves of index and seed:

        key1 = f(m(seed_low)) ^ seed_high,  key2 = f(m(key1 + 0x9E3779B9))
        high = f(m(index_high))                                   (0 for the first 2**32 elements)
        f(m(index_low ^ key1 ^ high) + key2) >> 8

    Source of the constants: C. Wellons, "Prospecting for hash functions", 2018, public domain.

    Args:
        index: int64, 0 or more.
        seed: int64, one element.

    Returns:
        int64 in [0, 2**24), shape of `index`.
    """
    key1, key2 = _keys(seed)
    h = _m(index & _LOW_32 ^ key1 ^ _f(_m(index >> 32)))
    return _f(h + key2 & _LOW_32) >> 8


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
