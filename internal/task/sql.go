package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// SQL is statements for the local database, run as its root over the socket.
type SQL struct {
	// The statements, as the mysql client takes them, in any encoding.
	Statements string `json:"-" mapstructure:"statements" required:"true"`
	// The database to run them in.
	Database string `json:"database,omitempty" mapstructure:"database"`
	// A query; if its first column is not empty, NULL or 0, there is nothing to do.
	Unless string `json:"unless,omitempty" mapstructure:"unless"`
}

// Kind is "sql".
func (SQL) Kind() string { return "sql" }

// Validate reports what is wrong with the description.
func (s SQL) Validate() error {
	if strings.TrimSpace(s.Statements) == "" {
		return errors.New("statements: they are missing")
	}
	return nil
}

// content is the statements: they are bytes of any encoding and size, and JSON has text.
func (s SQL) content() Blob { return Bytes([]byte(s.Statements)) }

func (s SQL) withContent(blob Blob) (Spec, error) {
	content, err := blob.Open()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	statements, err := io.ReadAll(content)
	s.Statements = string(statements)
	return s, err
}

// Check asks the database whether there is something to do.
func (s SQL) Check(ctx context.Context, m Machine) (Difference, error) {
	if s.Unless != "" {
		answer, err := m.Run(ctx, s.client(s.Unless))
		if err != nil {
			return nil, err
		}
		if truthy(answer) {
			return nil, nil
		}
	}
	shown := s.Statements
	if len(shown) > diffLimit {
		shown = fmt.Sprintf("%d bytes of SQL", len(shown))
	}
	return runProgram{shown: shown, program: s.client(s.Statements)}, nil
}

// truthy tells whether the first column of the first row says yes.
func truthy(answer string) bool {
	row, _, _ := strings.Cut(answer, "\n")
	column, _, _ := strings.Cut(row, "\t")
	return column != "" && column != "0" && column != "NULL"
}

// client is the client with these statements. It speaks to the local socket as root, which both MariaDB and MySQL let
// in without a password.
func (s SQL) client(statements string) Program {
	// The statements go in by standard input: an argument could be read by every process of the machine.
	argv := []string{
		databaseClient(),
		"--no-defaults",
		"--protocol=socket",
		"--user=root",
		"--batch",
		"--skip-column-names",
		"--default-character-set=utf8mb4",
	}
	if s.Database != "" {
		argv = append(argv, "--database="+s.Database)
	}
	if strings.ContainsAny(statements, "\x00\r") {
		// Else the client refuses the one, and takes the other for half of a line end.
		argv = append(argv, "--binary-mode")
	}
	return Program{Argv: argv, Stdin: statements}
}

func databaseClient() string {
	if _, err := os.Stat("/usr/bin/mariadb"); err == nil {
		return "mariadb"
	}
	return "mysql"
}
