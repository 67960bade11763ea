package tools

// Kept is how many documents are kept, and how many bytes they have.
func (d *Documents) Kept() (number, bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.kept), d.bytes
}

// MemoryFor is memoryFor.
var MemoryFor = memoryFor
