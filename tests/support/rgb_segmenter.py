"""A segmenter's model whose answer everybody knows: the classes of a pixel are its red, green and blue.

One operator, softmax over the channels of a 4x4 picture, with the metadata that MediaPipe asks for.
"""

from pathlib import Path

import flatbuffers
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
from mediapipe.tasks.metadata import schema_py_generated as tflite

_SIDE = 4


def write_rgb_segmenter(path: Path) -> Path:
    model = tflite.ModelT()
    model.version = 3
    model.operatorCodes = [_made(tflite.OperatorCodeT, builtinCode=tflite.BuiltinOperator.SOFTMAX, version=1)]
    model.operatorCodes[0].deprecatedBuiltinCode = tflite.BuiltinOperator.SOFTMAX
    softmax = _made(
        tflite.OperatorT,
        opcodeIndex=0,
        inputs=[0],
        outputs=[1],
        builtinOptionsType=tflite.BuiltinOptions.SoftmaxOptions,
        builtinOptions=_made(tflite.SoftmaxOptionsT, beta=1.0),
    )
    model.subgraphs = [
        _made(
            tflite.SubGraphT,
            tensors=[_tensor("image"), _tensor("classes")],
            inputs=[0],
            outputs=[1],
            operators=[softmax],
        )
    ]
    model.buffers = [tflite.BufferT(), _made(tflite.BufferT, data=list(_metadata()))]
    model.metadata = [_made(tflite.MetadataT, name="TFLITE_METADATA", buffer=1)]
    path.write_bytes(_packed(model, b"TFL3"))
    return path


def _metadata() -> bytes:
    scale = _made(metadata.NormalizationOptionsT, mean=[0.0], std=[255.0])
    unit = _made(
        metadata.ProcessUnitT,
        optionsType=metadata.ProcessUnitOptions.NormalizationOptions,
        options=scale,
    )
    content = _made(
        metadata.ContentT,
        contentPropertiesType=metadata.ContentProperties.ImageProperties,
        contentProperties=_made(metadata.ImagePropertiesT, colorSpace=metadata.ColorSpaceType.RGB),
    )
    graph = _made(
        metadata.SubGraphMetadataT,
        inputTensorMetadata=[_made(metadata.TensorMetadataT, processUnits=[unit], content=content)],
        outputTensorMetadata=[_made(metadata.TensorMetadataT, name="classes")],
    )
    return _packed(_made(metadata.ModelMetadataT, name="rgb", subgraphMetadata=[graph]), b"M001")


def _tensor(name: str) -> tflite.TensorT:
    kind = tflite.TensorType.FLOAT32
    return _made(tflite.TensorT, name=name, shape=[1, _SIDE, _SIDE, 3], type=kind, buffer=0)


def _made(kind, **values):
    made = kind()
    for name, value in values.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


def _packed(table, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(0)
    builder.Finish(table.Pack(builder), identifier)
    return bytes(builder.Output())
