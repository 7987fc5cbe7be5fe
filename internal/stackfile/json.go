package stackfile

import (
	"encoding/json"
	"reflect"
	"time"
)

// MarshalJSON writes the file under the names that it has in HCL, with durations as texts.
func (f *File) MarshalJSON() ([]byte, error) {
	return json.Marshal(plain(reflect.ValueOf(f).Elem()))
}

// plain is a value without the names of Go.
func plain(v reflect.Value) any {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	switch v.Kind() {
	case reflect.Slice:
		all := []any{}
		for i := range v.Len() {
			all = append(all, plain(v.Index(i)))
		}
		return all
	case reflect.Map:
		if v.Len() == 0 {
			return map[string]string{}
		}
	case reflect.Struct:
		if _, isText := forms[v.Type()]; !isText {
			return plainStruct(v)
		}
	}
	return v.Interface()
}

func plainStruct(v reflect.Value) map[string]any {
	all := map[string]any{}
	for _, f := range fieldsOf(v) {
		if f.label == "" {
			all[f.name] = plain(f.value)
			continue
		}
		labelled, ok := all[f.name].(map[string]any)
		if !ok {
			labelled = map[string]any{}
			all[f.name] = labelled
		}
		labelled[f.label] = plain(f.value)
	}
	return all
}
