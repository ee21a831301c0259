"""A ComfyUI-compatible server without torch or GPU, good enough to develop and test against.

Everything it draws is simulated, and says so in the picture and in the file's metadata.
"""

from comfyops.simulator.server import Simulator
from comfyops.simulator.settings import Faults, SimulatorSettings

__all__ = ["Faults", "Simulator", "SimulatorSettings"]
