package backend

import "github.com/ollama/ollama/api"

// The types of Ollama's API by which the models of a host are managed.
type (
	// CreateRequest asks for a new model, made of another one or of files.
	CreateRequest = api.CreateRequest
	// Step is a line by which a host says how far a long piece of work is. With a Digest it is
	// about that part of a model: Completed of Total bytes.
	Step = api.ProgressResponse
	// ModelMessage is a message that belongs to a model.
	ModelMessage = api.Message
)
