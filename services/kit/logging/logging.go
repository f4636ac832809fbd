package logging

import (
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// sentence is what a line says. The type is unexported so that only a constant can be one.
type sentence string

// key names a field or a thing counted; only a constant can be one.
type key string

// Options say where and how much to log.
type Options struct {
	// Node and Service are on every line.
	Node, Service string
	// Level is the least to write: debug, info, warn or error. Default info.
	Level string
	// Output takes one JSON object per line. Default standard error.
	Output io.Writer
}

// Logger writes lines. It is safe for concurrent use.
type Logger struct{ zap *zap.Logger }

// Field is one value of a line. Only this package makes them.
type Field struct{ zap zap.Field }

// New makes a logger. It fails on a level that is none.
func New(o Options) (*Logger, error) {
	if o.Level == "" {
		o.Level = "info"
	}
	level, err := zapcore.ParseLevel(o.Level)
	if err != nil || level > zapcore.ErrorLevel {
		return nil, fmt.Errorf("log level %q: use debug, info, warn or error", o.Level)
	}
	if o.Output == nil {
		o.Output = os.Stderr
	}
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "message",
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
		EncodeTime: func(t time.Time, out zapcore.PrimitiveArrayEncoder) {
			out.AppendString(t.UTC().Format("2006-01-02T15:04:05.000000Z"))
		},
	})
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(o.Output)), level)
	return (&Logger{zap: zap.New(core)}).With(Node(o.Node), Service(o.Service)), nil
}

// Discard is a logger that writes nothing.
func Discard() *Logger { return &Logger{zap: zap.NewNop()} }

// With answers a logger that puts these fields on every line.
func (l *Logger) With(fields ...Field) *Logger { return &Logger{zap: l.zap.With(unwrap(fields)...)} }

// Debug is for those who work on the program.
func (l *Logger) Debug(message sentence, fields ...Field) {
	l.zap.Debug(string(message), unwrap(fields)...)
}

// Info is for what an operator may want to know afterwards.
func (l *Logger) Info(message sentence, fields ...Field) {
	l.zap.Info(string(message), unwrap(fields)...)
}

// Warn is for what heals by itself but should not go on for long.
func (l *Logger) Warn(message sentence, fields ...Field) {
	l.zap.Warn(string(message), unwrap(fields)...)
}

// Error is for what a person must see to.
func (l *Logger) Error(message sentence, fields ...Field) {
	l.zap.Error(string(message), unwrap(fields)...)
}

func unwrap(fields []Field) []zap.Field {
	out := make([]zap.Field, len(fields))
	for i, f := range fields {
		out[i] = f.zap
	}
	return out
}
