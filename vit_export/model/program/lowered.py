"""A module of no known family, lowered: its program, which runs and which every target captures."""

from torch import Tensor, nn
from torch.export import ExportedProgram


class LoweredProgram(nn.Module):
    """The program of a module. It answers as the module does, at the program's batch sizes."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.program = program
        self.runnable = program.module()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer: Tensor | tuple[Tensor, ...] = self.runnable(images)  # (B, …)
        return answer
