export default part('imkit-outbox', ({ model, el, say, hear }) => {
    const list = make('ol', { 'aria-label': say('send_outbox'), 'aria-live': 'polite' });
    const told = said => {
        if (said.do !== 'items') return;
        list.replaceChildren(...said.items.map(item => {
            const marks = { waiting: '◌', sent: '✓', failed: '✕' };
            const uploading = item.state === 'waiting' && item.percent !== null && item.percent !== undefined;
            const state = uploading ? say('send_uploading', { percent: item.percent }) : say(`send_${item.state}`);
            return make('li', {},
                make('span', { cls: item.state, text: `${marks[item.state]} ${state}` }),
                make('bdi', { cls: 'what', text: item.what }),
                uploading ? make('progress', { max: '100', value: String(item.percent), 'aria-label': state }) : null,
                item.state === 'failed' ? make('button', { type: 'button', text: say('again'), on: { click: () => model.send({ do: 'again', number: item.number }) } }) : null,
                item.why ? make('span', { cls: 'failed', text: item.why }) : null);
        }));
    };
    hear('msg:custom', told);
    el.append(list);
    model.send({ do: 'open' });
});
