package apiclient

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const ratesPath = "/v1/rates"

// ImportRates replaces the account's rate deck by one in CSV.
func (c *Client) ImportRates(ctx context.Context, csv []byte) (Resource, error) {
	answer, err := c.do(ctx, http.MethodPut, ratesPath, "text/csv", csv)
	if err != nil {
		return Resource{}, err
	}
	return newResource(answer)
}

// Rates lists up to limit rates of the account's deck.
func (c *Client) Rates(ctx context.Context, filter url.Values, limit int) ([]Resource, error) {
	query := url.Values{}
	for k, v := range filter {
		query[k] = v
	}
	query.Set("limit", strconv.Itoa(min(max(limit, 1), maxPage)))
	next := ratesPath + "?" + query.Encode()
	var all []Resource
	for next != "" && len(all) < limit {
		res, err := c.send(ctx, http.MethodGet, next, "", nil, nil)
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		err = json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&raw)
		_ = res.Body.Close()
		if err != nil {
			return nil, notOurs(next, err)
		}
		rows, err := ParseList(raw)
		if err != nil {
			return nil, notOurs(next, err)
		}
		all = append(all, rows...)
		next = ""
		if link, rel, ok := strings.Cut(res.Header.Get("Link"), ">"); ok && strings.Contains(rel, `rel="next"`) && len(rows) > 0 {
			next = strings.TrimPrefix(link, "<")
		}
	}
	return all[:min(limit, len(all))], nil
}

// ExportRates is the account's deck in CSV, the caller's to close.
func (c *Client) ExportRates(ctx context.Context, filter url.Values) (io.ReadCloser, error) {
	path := ratesPath
	if len(filter) > 0 {
		path += "?" + filter.Encode()
	}
	res, err := c.send(ctx, http.MethodGet, path, "", nil, http.Header{"Accept": {"text/csv"}})
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// ClearRates removes the account's deck.
func (c *Client) ClearRates(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodDelete, ratesPath, "", nil)
	return err
}
