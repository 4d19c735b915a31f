"""Layers with weights, or weights and inputs, of -1 and +1: BinaryConnect, BWN and XNOR-Net."""
