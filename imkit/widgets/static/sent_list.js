// SentList (composer_parts.py): the last sent messages with their states.
const MARKS = { waiting: '◌', sent: '✓', failed: '✕' };

export default widgetPart('imkit-sent-list', ({ model, el, label, listen }) => {
    const list = element('ol', { 'aria-label': label('send_list'), 'aria-live': 'polite' });
    const drawItem = item => {
        const isUploading = item.state === 'waiting' && item.percent !== null && item.percent !== undefined;
        const state = isUploading ? label('send_uploading', { percent: item.percent }) : label(`send_${item.state}`);
        const retry = () => model.send({ do: 'retry', number: item.number });
        return element('li', {},
            element('span', { cls: item.state, text: `${MARKS[item.state]} ${state}` }),
            element('bdi', { cls: 'summary', text: item.summary }),
            isUploading ? element('progress', { max: '100', value: String(item.percent), 'aria-label': state }) : null,
            item.state === 'failed' ? element('button', { type: 'button', text: label('retry'), on: { click: retry } }) : null,
            item.error ? element('span', { cls: 'failed', text: item.error }) : null);
    };
    const receive = content => {
        if (content.do === 'items') list.replaceChildren(...content.items.map(drawItem));
    };
    listen('msg:custom', receive);
    el.append(list);
    model.send({ do: 'open' });
});
