"""A fake of `tensorrt` 10.13 that records its calls, for machines where that can't be installed.

It has the functions that engines need, with the signatures of the real bindings.
"""

from types import SimpleNamespace

import numpy as np


class Names:
    """An enumeration with these members; a version may lack others."""

    def __init__(self, *members):
        for number, name in enumerate(members):
            setattr(self, name, Member(name, number))


class Member(int):
    def __new__(cls, name, number):
        member = super().__new__(cls, number)
        member.name = name
        return member


class Recorder:
    """An object that keeps what is set on it, in order."""

    def __init__(self, calls):
        object.__setattr__(self, "calls", calls)

    def __setattr__(self, name, value):
        self.calls.append((name, value))
        object.__setattr__(self, name, value)


class Config(Recorder):
    def set_flag(self, flag):
        self.calls.append(("set_flag", flag.name))

    def clear_flag(self, flag):
        self.calls.append(("clear_flag", flag.name))

    def set_memory_pool_limit(self, pool, size):
        self.calls.append(("set_memory_pool_limit", pool.name, size))

    def add_optimization_profile(self, profile):
        self.calls.append(("add_optimization_profile", *profile.shapes))
        return profile.number

    def create_timing_cache(self, content):
        self.calls.append(("create_timing_cache", content))
        return "cache" if content != b"of another GPU" else None

    def set_timing_cache(self, cache, ignore_mismatch):
        self.calls.append(("set_timing_cache", cache, ignore_mismatch))
        return True

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: b"timed")

    def set_compute_capability(self, capability, index):
        self.calls.append(("set_compute_capability", capability.name, index))
        return True


class Profile:
    number = 0

    def set_shape(self, name, smallest, usual, largest):
        self.shapes = (name, smallest, usual, largest)


def tensor(name, dtype="FLOAT", shape=(-1, 3, 16, 24)):
    return SimpleNamespace(name=name, dtype=SimpleNamespace(name=dtype), shape=shape)


def layer(kind, inputs, output):
    return SimpleNamespace(
        type=SimpleNamespace(name=kind),
        num_inputs=len(inputs),
        num_outputs=1,
        get_input=lambda i: inputs[i],
        get_output=lambda _: output,
    )


class Network:
    def __init__(self, layers=(), image=None, answer=None):
        self.layers = list(layers)
        self.num_layers, self.num_inputs, self.num_outputs = len(self.layers), 1, 1
        self.image = image or tensor("image")
        self.answer = answer or tensor("logits", shape=(-1, 5))

    def get_layer(self, i):
        return self.layers[i]

    def get_input(self, _):
        return self.image

    def get_output(self, _):
        return self.answer


def half_network():
    """A network of one product in fp16, as the parser reads it from a strongly typed graph."""
    inputs = [tensor("x", "HALF"), tensor("w", "HALF")]
    return Network([layer("MATRIX_MULTIPLY", inputs, tensor("y", "HALF"))])


class Logger:
    Severity = Names("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


class Monitor:
    pass


class Builder:
    """It takes two steps, and then returns an engine or logs an error."""

    def __init__(self, library, log):
        self.library, self.log = library, log

    def create_network(self, flags):
        self.library.calls.append(("create_network", flags))
        return self.library.network

    def create_builder_config(self):
        return Config(self.library.calls)

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        for step in range(2):
            if not monitor.step_complete("Building engine", step):
                return None
        if self.library.error:
            self.log.log(Logger.Severity.ERROR, self.library.error)
            return None
        return self.library.engine


class Parser:
    def __init__(self, library):
        self.library, self.num_errors = library, len(library.refusal)

    def parse_from_file(self, path):
        self.library.calls.append(("parse_from_file", path))
        return not self.library.refusal

    def get_error(self, i):
        return self.library.refusal[i]


class Library:
    """The module `tensorrt`; its parser reads `network` from any file."""

    __version__ = "10.13.3.9"
    ILogger, IProgressMonitor = Logger, Monitor

    def __init__(self, network=None, refusal=(), engine=b"\0trtan engine", error=""):
        self.calls = []
        self.network, self.refusal, self.engine, self.error = network, refusal, engine, error
        self.BuilderFlag = Names(
            *("TF32", "REFIT", "STRIP_PLAN", "REFIT_IDENTICAL", "VERSION_COMPATIBLE")
        )
        self.NetworkDefinitionCreationFlag = Names("EXPLICIT_BATCH", "STRONGLY_TYPED")
        self.ProfilingVerbosity = Names("LAYER_NAMES_ONLY", "DETAILED")
        self.MemoryPoolType = Names("WORKSPACE")
        self.HardwareCompatibilityLevel = Names("NONE", "AMPERE_PLUS")
        self.ComputeCapability = Names("SM86", "SM89")
        self.TensorIOMode = Names("NONE", "INPUT", "OUTPUT")
        self.LayerInformationFormat = Names("ONELINE", "JSON")

    def Builder(self, log):
        return Builder(self, log)

    def OnnxParser(self, network, log):
        return Parser(self)

    def nptype(self, dtype):
        return {"FLOAT": np.float32, "HALF": np.float16}[dtype.name]


class Refusal:
    """A ParserError."""

    def __init__(self, node, operator, reason):
        self.node_name, self.node_operator = lambda: node, lambda: operator
        self.desc, self.node = lambda: reason, lambda: 7


class Engine:
    """An ICudaEngine that answers twice the sum of each image, in the memory of a FakeDriver."""

    num_io_tensors = 2

    def __init__(self, library, driver):
        self.library, self.driver = library, driver

    def get_tensor_name(self, i):
        return ("image", "logits")[i]

    def get_tensor_mode(self, name):
        modes = self.library.TensorIOMode
        return modes.INPUT if name == "image" else modes.OUTPUT

    def get_tensor_dtype(self, _):
        return SimpleNamespace(name="FLOAT")

    def create_execution_context(self):
        return Context(self)

    def create_engine_inspector(self):
        text = '{"Layers": [{"LayerType": "gemm", "Inputs": [{"Format/Datatype": "Half"}]}]}'
        return SimpleNamespace(get_engine_information=lambda _: text)


class Context:
    def __init__(self, engine):
        self.engine, self.addresses, self.profile = engine, {}, 0

    def set_optimization_profile_async(self, profile, stream):
        self.profile = profile
        self.engine.library.calls.append(("set_optimization_profile_async", profile, stream))
        return True

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return True

    def get_tensor_shape(self, _):
        return (self.shape[0], 1)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        self.engine.library.calls.append(("execute_async_v3", self.profile, stream))
        memory = self.engine.driver.memory
        images = np.frombuffer(memory[self.addresses["image"]], np.float32)
        images = images[: int(np.prod(self.shape))].reshape(self.shape[0], -1)
        memory[self.addresses["logits"]][: 4 * self.shape[0]] = (
            (2 * images.sum(axis=1)).astype(np.float32).tobytes()
        )
        return True
