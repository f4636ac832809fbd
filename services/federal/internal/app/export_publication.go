package app

import (
	"bytes"
	"context"
	"encoding/json"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/encoding/protojson"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app/sheets"
)

// ExportPublication writes a publication as a file.
func (a *App) ExportPublication(ctx context.Context, request *federalv1.ExportPublicationRequest) (*httpbody.HttpBody, error) {
	p, err := a.GetPublication(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	file := &httpbody.HttpBody{}
	switch request.GetFormat() {
	case federalv1.PublicationFormat_PUBLICATION_FORMAT_XLSX:
		file.ContentType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
		file.Data, err = sheets.XLSX(p)
	case federalv1.PublicationFormat_PUBLICATION_FORMAT_JSON:
		file.ContentType = "application/json"
		file.Data, err = asJSON(p)
	default:
		file.ContentType = "text/csv; charset=utf-8; header=present"
		file.Data, err = sheets.CSV(p)
	}
	return file, err
}

// asJSON is the message as the gateway writes it, in lines. The library puts in spaces by chance, so they are taken out: the bytes are to be the
// same in every build.
func asJSON(p *federalv1.Publication) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(p)
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	if err := json.Indent(&file, raw, "", " "); err != nil {
		return nil, err
	}
	file.WriteByte('\n')
	return file.Bytes(), nil
}
