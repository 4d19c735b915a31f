"""Convolutions of bits: a C++ kernel for several sets of instructions, and the same in PyTorch without it."""
