"""Whisper on OpenVINO, for x86 CPUs that multiply bfloat16: windows in, what was heard out.

graph.py draws the model, network.py runs it, rules.py says which token may
come next, generate.py lets a batch speak, align.py finds its words in time,
engine.py is the engine.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # or it reports each import to its maker
