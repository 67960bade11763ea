package loadtest

// DirectOver is Direct with another way to open connections.
var DirectOver = directOver
