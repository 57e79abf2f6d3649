"""Whisper on OpenVINO, for x86 CPUs with bfloat16 instructions.

graph.py builds the network's two graphs, runtime.py compiles and runs them,
logit_filters.py says which token may come next, generate.py generates the
tokens of a batch, alignment.py finds when its words are spoken, engine.py
makes an engine of that.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # or it reports each import to its maker
