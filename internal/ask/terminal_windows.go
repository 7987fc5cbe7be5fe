package ask

const terminal = "CONIN$"
