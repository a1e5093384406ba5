const HELD = 500;

export default part('imkit-wire', ({ model, el, say, hear }) => {
    const clock = dates(model, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false });
    const empty = make('div', { cls: 'imkit-rooms-note', text: say('wire_empty') });
    const list = make('div', { cls: 'imkit-wire-list', tabindex: '0', role: 'log', 'aria-label': say('wire_title'), 'aria-live': 'off' }, empty);
    const pause = make('button', { type: 'button', text: say('wire_pause') });
    const clear = make('button', { type: 'button', text: say('wire_clear') });
    let paused = false, waiting = [];
    el.style.setProperty('--imkit-height', `${model.get('height')}px`);

    const show = entries => {
        if (!entries.length) return;
        const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
        empty.remove();
        list.append(...entries.slice(-HELD).map(entry => make('details', {},
            make('summary', {},
                make('span', { cls: entry.direction, text: `${entry.direction === 'up' ? '↑' : '↓'} ${say(`wire_${entry.direction}`)} ` }),
                make('time', { text: `${clock.format(entry.at)} `, datetime: new Date(entry.at).toISOString() }),
                make('b', { text: entry.what }), ` · ${say('wire_bytes', { n: entry.size })}`),
            make('pre', { text: entry.decoded }))));
        while (list.children.length > HELD) list.firstChild.remove();
        if (atEnd) list.scrollTop = list.scrollHeight;
    };
    const told = said => {
        if (said.do !== 'entries') return;
        if (paused) waiting = [...waiting, ...said.entries].slice(-HELD);
        else show(said.entries);
    };
    pause.addEventListener('click', () => {
        paused = !paused;
        pause.textContent = say(paused ? 'wire_resume' : 'wire_pause');
        if (!paused) { show(waiting); waiting = []; }
    });
    clear.addEventListener('click', () => { list.replaceChildren(empty); waiting = []; });
    hear('msg:custom', told);
    el.append(make('div', { cls: 'imkit-box-foot' }, make('b', { text: say('wire_title') }), make('span', {}, pause, ' ', clear)), list);
    model.send({ do: 'open' });
    return () => model.send({ do: 'shut' });
});
