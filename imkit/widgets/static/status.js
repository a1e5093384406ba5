export default {
    render({ model, el }) {
        begin({ model, el }, 'imkit-status');
        el.setAttribute('role', 'status');
        const show = () => {
            el.dataset.tone = model.get('tone');
            const hint = model.get('hint');
            el.replaceChildren(
                make('span', { cls: 'imkit-status-text', text: model.get('text') }),
                ...(hint ? [make('span', { cls: 'imkit-status-hint', text: hint })] : []));
        };
        model.on('change:text change:tone change:hint', show);
        show();
        return () => model.off('change:text change:tone change:hint', show);
    },
};
