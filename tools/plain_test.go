package tools

import (
	"reflect"
	"testing"
)

func TestPlainArgumentsAreThoseThatTheFullCheckWouldPass(t *testing.T) {
	values := []any{"", "text", 1.0, true, nil, []any{"text"}, map[string]any{}}
	for _, in := range []reflect.Type{
		reflect.TypeFor[generateIn](), reflect.TypeFor[chatIn](), reflect.TypeFor[embedIn](),
		reflect.TypeFor[listModelsIn](), reflect.TypeFor[clearCacheIn](), reflect.TypeFor[statusIn](),
	} {
		s, err := schemaOf(in)
		if err != nil {
			t.Fatal(err)
		}
		check, err := s.check()
		if err != nil {
			t.Fatal(err)
		}
		whole := make(map[string]any) // with what is required
		for _, name := range s.doc.Required {
			whole[name] = "text"
		}
		for _, base := range []map[string]any{{}, whole} {
			for _, name := range append([]string{"unknown"}, s.doc.PropertyOrder...) {
				for _, value := range values {
					arguments := map[string]any{name: value}
					for required := range base {
						if required != name {
							arguments[required] = base[required]
						}
					}
					if err := check.Validate(arguments); s.isPlain(arguments) && err != nil {
						t.Errorf("%v: %v pass, and the full check says %v", in, arguments, err)
					}
				}
			}
		}
	}
}

func TestQuestionInPlainTextIsNotCheckedInFull(t *testing.T) {
	s, err := schemaOf(reflect.TypeFor[generateIn]())
	if err != nil {
		t.Fatal(err)
	}
	if !s.isPlain(map[string]any{"model": "tiny", "prompt": "hi", "system": "be brief"}) {
		t.Error("it is")
	}
	if s.isPlain(map[string]any{"model": "tiny", "prompt": "hi", "cache": "off"}) {
		t.Error("one with a choice in it is not")
	}
}
