package task

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// WireVersion is the version of the stream; an agent takes no other.
const WireVersion = 2

// maxLine bounds a line of the stream. Content goes in blobs, so lines are short.
const maxLine = 1 << 20

// maxBlob bounds one blob.
const maxBlob = 1 << 30

// inMemory is the size up to which a received blob stays in memory; content with secrets is small, so none of it is
// written to the receiver's disk.
const inMemory = 1 << 20

// The stream is lines of JSON: a header, blobs, each followed by its bytes and a line feed, tasks and handlers in
// their order, and an end. Nothing is done before the end has been read.
type line struct {
	Goldsmith int      `json:"goldsmith,omitempty"`
	Play      string   `json:"play,omitempty"`
	Check     bool     `json:"check,omitempty"`
	Blob      string   `json:"blob,omitempty"`
	Size      int64    `json:"size,omitempty"`
	Task      *message `json:"task,omitempty"`
	Handler   *message `json:"handler,omitempty"`
	End       bool     `json:"end,omitempty"`
}

type message struct {
	Name      string          `json:"name"`
	Notify    []string        `json:"notify,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`
	Kind      string          `json:"kind"`
	Spec      json.RawMessage `json:"spec"`
}

// Encode writes a play as a stream. The play must be valid.
func Encode(w io.Writer, p Play, check bool) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	encoder := json.NewEncoder(buffered)
	if err := encoder.Encode(line{Goldsmith: WireVersion, Play: p.Name, Check: check}); err != nil {
		return fmt.Errorf("send play %s: %w", p.Name, err)
	}
	sent := map[string]bool{}
	for _, t := range append(append([]Task(nil), p.Tasks...), p.Handlers...) {
		blob := blobOf(t.Spec)
		if blob == nil || blob.Digest == "" || sent[blob.Digest] {
			continue
		}
		sent[blob.Digest] = true
		if err := encodeBlob(buffered, encoder, *blob); err != nil {
			return fmt.Errorf("send play %s: task %q: %w", p.Name, t.Name, err)
		}
	}
	for i, t := range append(append([]Task(nil), p.Tasks...), p.Handlers...) {
		spec, err := json.Marshal(onWire(t.Spec))
		if err != nil {
			return fmt.Errorf("send play %s: task %q: %w", p.Name, t.Name, err)
		}
		m := &message{Name: t.Name, Notify: t.Notify, Sensitive: t.Sensitive, Kind: t.Spec.Kind(), Spec: spec}
		l := line{Task: m}
		if i >= len(p.Tasks) {
			l = line{Handler: m}
		}
		if err := encoder.Encode(l); err != nil {
			return fmt.Errorf("send play %s: task %q: %w", p.Name, t.Name, err)
		}
	}
	if err := encoder.Encode(line{End: true}); err != nil {
		return fmt.Errorf("send play %s: %w", p.Name, err)
	}
	return buffered.Flush()
}

func encodeBlob(w io.Writer, encoder *json.Encoder, blob Blob) error {
	content, err := blob.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := encoder.Encode(line{Blob: blob.Digest, Size: blob.Size}); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(content, blob.Size))
	if err == nil && n != blob.Size {
		err = fmt.Errorf("blob %s: it has shrunk from %d to %d bytes since it was first read", blob.Digest, blob.Size, n)
	}
	if err != nil {
		return err
	}
	_, err = w.Write([]byte{'\n'})
	return err
}

// sqlOnWire is SQL on the wire: the statements are a blob, as they are bytes of any encoding, and JSON has text.
type sqlOnWire struct {
	Statements Blob   `json:"statements"`
	Database   string `json:"database,omitempty"`
	Unless     string `json:"unless,omitempty"`
}

// Kind is that of SQL.
func (sqlOnWire) Kind() string { return SQL{}.Kind() }

// Validate has nothing to say: what comes of it is validated.
func (sqlOnWire) Validate() error { return nil }

// onWire is a description as it is sent.
func onWire(spec Spec) Spec {
	if s, ok := spec.(SQL); ok {
		return sqlOnWire{Bytes([]byte(s.Statements)), s.Database, s.Unless}
	}
	return spec
}

// blobOf is the blob that a description names, if its kind has one.
func blobOf(spec Spec) *Blob {
	switch s := onWire(spec).(type) {
	case sqlOnWire:
		return &s.Statements
	case File:
		return &s.Content
	case Unit:
		return &s.Content
	}
	return nil
}

// Decode reads a whole stream and returns a valid play whose blobs can be opened. Large blobs are spooled into files
// below dir, which the caller removes.
func Decode(r io.Reader, dir string) (p Play, check bool, err error) {
	d := decoder{r: bufio.NewReaderSize(r, 64<<10), dir: dir, blobs: map[string]Blob{}}
	header, err := d.line()
	if err != nil {
		return Play{}, false, fmt.Errorf("read play: %w", err)
	}
	if header.Goldsmith != WireVersion {
		return Play{}, false, fmt.Errorf("read play: the stream has version %d, this agent takes %d", header.Goldsmith, WireVersion)
	}
	p.Name = header.Play
	for {
		l, err := d.line()
		if err != nil {
			return Play{}, false, fmt.Errorf("read play %s: %w", p.Name, err)
		}
		switch {
		case l.End:
			return p, header.Check, p.Validate()
		case l.Blob != "":
			err = d.blob(l.Blob, l.Size)
		case l.Task != nil:
			err = d.add(&p.Tasks, l.Task)
		case l.Handler != nil:
			err = d.add(&p.Handlers, l.Handler)
		default:
			err = errors.New("a line is neither blob, task, handler nor end")
		}
		if err != nil {
			return Play{}, false, fmt.Errorf("read play %s: %w", p.Name, err)
		}
	}
}

type decoder struct {
	r     *bufio.Reader
	dir   string
	blobs map[string]Blob
}

func (d *decoder) line() (line, error) {
	var text []byte
	for {
		part, err := d.r.ReadSlice('\n')
		text = append(text, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return line{}, err
		}
		if len(text) > maxLine {
			return line{}, fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
	}
	var l line
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&l); err != nil {
		return line{}, fmt.Errorf("a line is no JSON of this version: %w", err)
	}
	return l, nil
}

// blob reads a blob's bytes and checks that they are what their name says.
func (d *decoder) blob(digest string, size int64) error {
	if size < 0 || size > maxBlob {
		return fmt.Errorf("blob %s: its size %d is not within 0 and %d", digest, size, maxBlob)
	}
	h := sha256.New()
	content := io.TeeReader(io.LimitReader(d.r, size), h)
	b := Blob{Digest: digest, Size: size}
	if size <= inMemory {
		memory := make([]byte, size)
		if _, err := io.ReadFull(content, memory); err != nil {
			return fmt.Errorf("blob %s: %w", digest, err)
		}
		b.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(memory)), nil }
	} else {
		path, err := spool(d.dir, content, size)
		if err != nil {
			return fmt.Errorf("blob %s: %w", digest, err)
		}
		b.open = func() (io.ReadCloser, error) { return os.Open(path) }
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return fmt.Errorf("blob %s: its content is %s", digest, got)
	}
	if end, err := d.r.ReadByte(); err != nil || end != '\n' {
		return fmt.Errorf("blob %s: it does not end where it says", digest)
	}
	d.blobs[digest] = b
	return nil
}

func spool(dir string, content io.Reader, size int64) (string, error) {
	f, err := os.CreateTemp(dir, "blob-")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, content)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return f.Name(), errors.Join(err, f.Close())
}

func (d *decoder) add(tasks *[]Task, m *message) error {
	spec, err := decodeSpec(m.Kind, m.Spec)
	if err != nil {
		return fmt.Errorf("task %q: %w", m.Name, err)
	}
	if blob := blobOf(spec); blob != nil && blob.Digest != "" {
		received, ok := d.blobs[blob.Digest]
		if !ok {
			return fmt.Errorf("task %q: blob %s was not sent", m.Name, blob.Digest)
		}
		if spec, err = withBlob(spec, received); err != nil {
			return fmt.Errorf("task %q: %w", m.Name, err)
		}
	}
	*tasks = append(*tasks, Task{Name: m.Name, Notify: m.Notify, Sensitive: m.Sensitive, Spec: spec})
	return nil
}

func withBlob(spec Spec, blob Blob) (Spec, error) {
	switch s := spec.(type) {
	case File:
		s.Content = blob
		return s, nil
	case Unit:
		s.Content = blob
		return s, nil
	case sqlOnWire:
		content, err := blob.Open()
		if err != nil {
			return nil, err
		}
		defer content.Close()
		statements, err := io.ReadAll(content)
		return SQL{Statements: string(statements), Database: s.Database, Unless: s.Unless}, err
	}
	return spec, nil
}

func decodeSpec(kind string, text json.RawMessage) (Spec, error) {
	switch kind {
	case Package{}.Kind():
		return decodeInto[Package](text)
	case File{}.Kind():
		return decodeInto[File](text)
	case Directory{}.Kind():
		return decodeInto[Directory](text)
	case Link{}.Kind():
		return decodeInto[Link](text)
	case Group{}.Kind():
		return decodeInto[Group](text)
	case User{}.Kind():
		return decodeInto[User](text)
	case Unit{}.Kind():
		return decodeInto[Unit](text)
	case Service{}.Kind():
		return decodeInto[Service](text)
	case Command{}.Kind():
		return decodeInto[Command](text)
	case Sysctl{}.Kind():
		return decodeInto[Sysctl](text)
	case SQL{}.Kind():
		return decodeInto[sqlOnWire](text)
	case AptHold{}.Kind():
		return decodeInto[AptHold](text)
	case Line{}.Kind():
		return decodeInto[Line](text)
	}
	return nil, fmt.Errorf("kind %q is not known to this agent", kind)
}

func decodeInto[S Spec](text json.RawMessage) (Spec, error) {
	var spec S
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&spec); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Kind(), err)
	}
	return spec, nil
}
