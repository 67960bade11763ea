package ollamatest

import "testing"

// Start launches a server for a test and closes it when the test is over. A test
// that fails shows the end of the server's log. No Ollama is a failure too:
// a test that does not run proves nothing.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := Launch(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the end of Ollama's log:\n%s", s.LogTail())
		}
	})
	return s
}
