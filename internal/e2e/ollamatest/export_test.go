package ollamatest

// ProcessGroup is the group that the server and its runners belong to.
func (s *Server) ProcessGroup() int { return s.process.group.ID() }
