"""Any module as one program of `torch.export`: captured, checked, or refused with the cause."""
