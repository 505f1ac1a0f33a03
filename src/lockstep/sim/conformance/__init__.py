"""Conformance: the real vote keeper, phase table and driver against traces of a formal model.

The traces are files in Apalache's ITF format that others generated from the public Quint model of
Tendermint. This package reads them, feeds their inputs to our consensus code and compares what
comes out, step by step. It judges consensus only: no world, no node and no clock is made.
"""
