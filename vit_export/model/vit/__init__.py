"""The Vision Transformer: its spec, the eager reference, presets, and the lowering for export."""
