"""The same proof on CPUs that are not here: in QEMU, and as WebAssembly in Node.js."""
